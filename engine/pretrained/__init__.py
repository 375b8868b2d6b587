"""Small weights that come with the project, each beside a JSON file of where it is from, and what makes them."""
