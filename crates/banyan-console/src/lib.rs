//! banyan-console
