// Of the Prometheus Operator, the definitions of its resources.
module podtrace.test/operator

go 1.24

require github.com/prometheus-operator/prometheus-operator v0.85.0
