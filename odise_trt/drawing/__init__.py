"""Parts of the overlay picture: colours, text, positions of names, the legend."""
