"""The data of tasks: how one is named, read, checked, and cut into train and dev."""
