"""The command line: one module a command, each parse → call → print."""
