"""One dock a file or package; importing one loads none of the heavy modules of the backend."""
