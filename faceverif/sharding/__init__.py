"""Classes spread over the processes of a training: each holds some of the class weights.

The embeddings of a step are gathered, so every process compares the whole batch with its own classes. What a
loss needs of all classes are sums and maxima over the processes, one number a sample.

Gradients are those of the sum of all processes' losses, and every collective here has the gradient of that.
So whatever is composed of them is differentiated rightly, also what all processes compute alike. The sum is
as many times the loss as there are processes; DDP divides by their number, and `faceverif.heads.sharding`
does for what a process holds alone.
"""
