"""Placeholder."""
def write(request, opset, files): raise NotImplementedError
