"""The command line: parse, build one request, call one function, render. No tensors here, and no torch until needed."""
