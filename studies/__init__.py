"""Who wins: the store, the blind protocol, the verbs of a session, and what the votes say."""
