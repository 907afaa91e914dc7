"""Pictures of what the rows say, as PNG. Pure: values in, bytes out; knows no table, no Slack and no time of its own."""
