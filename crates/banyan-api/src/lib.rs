//! banyan-api
