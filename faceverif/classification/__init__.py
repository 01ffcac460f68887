"""Image classification as in the losses' papers: MNIST, CIFAR and larger, trained and measured."""
