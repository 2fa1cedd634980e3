"""Oscar's app `partner` with stock that Banyan can lead."""
