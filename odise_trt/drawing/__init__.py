"""Parts of the overlay picture: colours, text, places for names, the legend."""
