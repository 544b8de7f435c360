"""The cache: circuits whose results are known are answered by content, and not run again."""
