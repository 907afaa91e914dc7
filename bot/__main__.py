"""`python -m bot`, the same as `release-bot`."""

from bot.cli import main

raise SystemExit(main())
