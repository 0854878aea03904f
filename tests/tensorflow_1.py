"""The article's two programs as TensorFlow 1 runs them: what the port is held against.

Placeholders, `tf.gradients`, a session; the listings' defects mended as the sections read them.
As a program, `python tensorflow_1.py PROGRAM IN.npz OUT.npz`, all of TensorFlow 2 is switched off.
"""

import sys

import numpy as np
import tensorflow.compat.v1 as tf


def gradient_descent(theta, y):
    """Paragraph 4.1: the loss, its variables, what is fed."""
    theta = tf.Variable(theta, name="theta")
    target = tf.placeholder(tf.float32, shape=[], name="y")
    return tf.reduce_mean(tf.square(theta - target)), [theta], {target: y}


def backpropagation(W, b, x, y):
    """Paragraph 4.2: the loss, its variables, what is fed."""
    W, b = tf.Variable(W, name="W"), tf.Variable(b, name="b")
    inputs = tf.placeholder(tf.float32, shape=[None, 2], name="x")
    targets = tf.placeholder(tf.float32, shape=[None, 3], name="y")
    loss = tf.reduce_mean(tf.square(tf.matmul(inputs, W) + b - targets))
    return loss, [W, b], {inputs: x, targets: y}


def session_loop(loss, variables, feed, learning_rate, steps):
    """The article's loop: one call of the session a step. Returns a function that runs it."""
    optimizer = tf.train.GradientDescentOptimizer(learning_rate)
    gradients = tf.gradients(loss, variables)
    train = optimizer.apply_gradients(zip(gradients, variables, strict=True))
    session, start = tf.Session(), tf.global_variables_initializer()

    def run():
        session.run(start)
        for _ in range(steps):
            session.run(train, feed_dict=feed)
        return session.run(variables)

    return run


def graph_loop(loss, variables, feed, learning_rate, steps):
    """The same with the loop inside of the graph, as TensorFlow 1 could have it, too."""
    optimizer = tf.train.GradientDescentOptimizer(learning_rate)
    session, start = tf.Session(), tf.global_variables_initializer()
    del loss  # of the variables outside of the loop

    def body(step):
        (inputs, targets), (W, b) = feed, variables
        inside = tf.reduce_mean(tf.square(tf.matmul(inputs, W) + b - targets))
        gradients = tf.gradients(inside, variables)
        with tf.control_dependencies(
            [optimizer.apply_gradients(zip(gradients, variables, strict=True))]
        ):
            return step + 1

    loop = tf.while_loop(lambda step: step < steps, body, [tf.constant(0)], parallel_iterations=1)

    def run():
        session.run(start)
        session.run(loop, feed_dict=feed)
        return session.run(variables)

    return run


if __name__ == "__main__":
    program, source, target = sys.argv[1:]
    tf.disable_v2_behavior()
    with np.load(source) as given:
        arrays = dict(given)
    rate, count = float(arrays.pop("learning_rate")), int(arrays.pop("steps"))
    np.savez(target, *session_loop(*globals()[program](**arrays), rate, count)())
