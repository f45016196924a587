//! Addresses in all of haproxy's forms.
