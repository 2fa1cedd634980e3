"""Oscar's app `basket`, whose lines load stock by the plugin's rule."""
