"""The commands with their own options, as tyro reads them; the fields of a config are none of them."""
