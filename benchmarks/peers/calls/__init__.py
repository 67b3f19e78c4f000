"""One program for each library: a function of no work, recorded as its documentation says."""
