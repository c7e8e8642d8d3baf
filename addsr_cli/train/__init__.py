"""Training: fit a network to photos, or distil a student from a frozen teacher.

The walk of one batch from the data loader to the weights, for the objective ``Distillation``. It
goes one way. ``PairDataset`` has read the photos, cropped and degraded them (train/data); the batch
then passes through these functions and the networks:

    1.  ``Trainer._batches``            -> Batch on the device (train/trainer.py)
    2.  ``Trainer.train_step``          one optimizer step at the learning rate of its number
    3.  ``Distillation.step``           both networks, from the batches accumulated for the step
    4.  ``Distillation.draw``           -> StudentDraws: timesteps, noise, text dropout
    5.  ``Distillation.run_student``    -> StudentPass: what the student predicts, with its draws
    6.  ``rollout.roll_out``            the student's sampling steps, with gradients in the last
    7.  ``DiscriminatorStep.backward``  gradients of the discriminator, from HR and the prediction
    8.  ``DiscriminatorStep.step``      -> weights of the discriminator
    9.  ``Distillation.losses``         -> losses by name: teacher, discriminator, reconstruction
    10. ``Distillation.total``          -> their weighted sum
    11. ``OptimizerStep.backward``      gradients of the student, if the loss is finite
    12. ``OptimizerStep.step``          -> weights of the student, from averaged, clipped gradients

Without an adversarial loss there are no 7 and 8. With several accumulated batches the student runs
again (5 and 6) before 9, because the discriminator must have seen all of them first.

Afterwards ``Ema.update`` averages the weights, and ``Trainer`` logs, saves and writes samples when
they are due.
"""
