"""A real Kubernetes on this machine for tests: two nodes in network namespaces of their own.

Everything lives in one directory and in namespaces: no table, route or mount of the machine is
changed but one virtual link, one directory of cgroups in each hierarchy and the links that kubelets
make in /var/log/containers. All of that goes with `down`, also after a crash.
"""
