"""The command line: the edge's commands, one module each (parse → call → print), and the table of all commands."""
