"""The page in the browser that `faceverif app` serves: compare, fool, look up, read reports.

What it does is in plain functions; only `page` and `server` know Gradio.
"""
