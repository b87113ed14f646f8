"""The store of artifacts (prepared data and weights): each is built once, written atomically and verified when read."""
