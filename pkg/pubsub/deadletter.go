package pubsub

import (
	"context"
	"fmt"
	"time"
)

// deadLetterTime bounds the publishing of a dead letter.
const deadLetterTime = 30 * time.Second

// discard ends a message that nobody wants: it goes to the dead letter topic, if there is one, as it came from the
// broker. An error means that it has to be delivered again, since it could not be put there.
func (c *consumer) discard(component *component, m *Message) error {
	if c.wish.DeadLetterTopic == "" {
		c.attempts.done(c, m)
		return nil
	}
	if err := c.bury(component, m); err != nil {
		c.service.deps.Log.Errorf("the pub/sub event %s of topic %s could not be put on the dead letter topic %s and stays where it is: %s",
			m.ID, c.wish.Topic, c.wish.DeadLetterTopic, err)
		return err
	}
	c.attempts.done(c, m)
	return nil
}

// bury publishes the message as it came. The end of the subscription does not cut it short.
func (c *consumer) bury(component *component, m *Message) error {
	topic := c.wish.DeadLetterTopic
	if c.hard.Err() != nil {
		return c.hard.Err()
	}
	if !component.settings.mayPublish(c.service.deps.AppID, topic) {
		return fmt.Errorf("topic %s is not allowed for app id %s", topic, c.service.deps.AppID)
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadLetterTime)
	defer cancel()
	return c.service.hand(ctx, component, &PublishRequest{Topic: topic, Data: m.Data, ContentType: m.ContentType, Metadata: m.Metadata})
}

// giveUp ends a message that has failed as often as it may.
func (c *consumer) giveUp(component *component, m *Message, count int) error {
	if c.wish.DeadLetterTopic == "" {
		c.service.deps.Log.Errorf("the pub/sub event %s of topic %s of pubsub %s is dropped: the application has refused it %d times (maxDeliveryAttempts); "+
			"a deadLetterTopic would keep it", m.ID, c.wish.Topic, c.wish.PubSub, count)
	}
	return c.discard(component, m)
}
