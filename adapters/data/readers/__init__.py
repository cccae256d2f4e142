"""One file per format; the file's name is the value of --dataset_format."""
