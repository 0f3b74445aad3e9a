"""Watch: builds again whenever the files differ from those that the last build rested on."""
