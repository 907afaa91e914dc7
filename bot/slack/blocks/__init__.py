"""Pure renderers: from a ReleaseView to Block Kit. No I/O, no clock, no Slack client: time comes with the view."""
