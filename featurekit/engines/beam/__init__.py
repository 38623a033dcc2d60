"""Full passes on Apache Beam: tf.Transform analyses, TensorFlow transforms, any runner."""
