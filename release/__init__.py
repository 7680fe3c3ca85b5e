"""What makes the files of a release out of this tree. Not part of the program."""
