"""The stages of the pipeline: each a plain function (config, inputs, where) -> artifact."""
