"""The stages of the pipeline: each a plain function (config, inputs, context) -> artifact."""
