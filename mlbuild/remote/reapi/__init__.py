"""Jobs in a server of the Remote Execution API."""
