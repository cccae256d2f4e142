"""The foundation of all packages: errors, atomic files, settings, flags, plugin discovery, processes, memory."""
