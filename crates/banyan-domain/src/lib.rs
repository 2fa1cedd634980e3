//! banyan-domain
