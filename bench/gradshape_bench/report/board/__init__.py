"""The leaderboard for people: an overview that ranks defences, and a page a task. All of it is Markdown."""
