"""The script and the format of packs of releases that an older bot has started; nothing here changes any more."""
