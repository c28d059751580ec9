// Nothing: its library holds the headers that all tests share, compiled once.
