"""Lessons for the editor: collected from the review journals, checked, split, exported and imported."""
