"""Where each dataset has its files, one module per publisher."""
