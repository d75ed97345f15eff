"""Where text comes from: files, data sets, the documentation of installed libraries."""
