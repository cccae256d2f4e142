"""The server's own paths, a file a group: `routes(service)` gives the routers of each."""
