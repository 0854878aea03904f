"""Before TensorFlow starts: no chatter, and two logical devices for tests with replicas."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


@pytest.fixture(scope="session")
def two_replicas():
    """One strategy for all tests: a second one of the same devices gets in the way of the first."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
