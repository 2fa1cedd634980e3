//! banyan-engine
