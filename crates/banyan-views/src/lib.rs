//! banyan-views
