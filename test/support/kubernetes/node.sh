remove_network_and_cgroups() { :; }
