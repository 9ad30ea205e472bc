"""One module per format of annotation rows; `catalog` lists them and picks the one that reads a row."""
