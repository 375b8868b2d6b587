"""The page: Gradio and nothing else. It calls the verbs of `studies.session` and turns values into markup."""
