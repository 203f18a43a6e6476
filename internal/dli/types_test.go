// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

// setField gives a field a value that differs from its zero value.
func setField(t *testing.T, field reflect.Value) {
	t.Helper()
	switch field.Interface().(type) {
	case string:
		field.SetString("x")
	case bool:
		field.SetBool(true)
	case int:
		field.SetInt(1)
	case time.Time:
		field.Set(reflect.ValueOf(time.Unix(1, 0)))
	case *time.Duration:
		field.Set(reflect.ValueOf(new(time.Second)))
	case *int64:
		field.Set(reflect.ValueOf(new(int64(1))))
	case []Column:
		field.Set(reflect.ValueOf([]Column{{Name: "x"}}))
	case []Tag:
		field.Set(reflect.ValueOf([]Tag{{Key: "x"}}))
	default:
		t.Fatalf("no value for a field of type %v", field.Type())
	}
}

// Every field of a status is either a figure or part of its digest.
func TestEveryFieldCounts(t *testing.T) {
	// What is not news: the ID never changes, State follows from Status, and Date is that
	// of the response.
	notNews := []string{"JobID", "State", "Date", "Figures"}
	var before JobStatus
	for _, field := range reflect.VisibleFields(reflect.TypeFor[JobStatus]()) {
		if len(field.Index) > 1 || slices.Contains(notNews, field.Name) {
			continue
		}
		var after JobStatus
		setField(t, reflect.ValueOf(&after).Elem().FieldByIndex(field.Index))
		if after.Digest() == before.Digest() {
			t.Errorf("JobStatus.%s is not part of the digest", field.Name)
		}
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Figures]()) {
		if field.Name == "Duration" {
			continue
		}
		var none, known, updated Figures
		setField(t, reflect.ValueOf(&known).Elem().FieldByIndex(field.Index))
		if known.EqualCounts(&none) || none.EqualCounts(&known) {
			t.Errorf("Figures.%s is not compared", field.Name)
		}
		if updated.Update(&known); !updated.EqualCounts(&known) {
			t.Errorf("Figures.%s is not updated", field.Name)
		}
		if updated.Update(&none); !updated.EqualCounts(&known) {
			t.Errorf("Figures.%s is lost when it is unknown", field.Name)
		}
	}
}

func TestRunningTime(t *testing.T) {
	ran := 90 * time.Second
	noon := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	start := noon.Add(10 * time.Minute) // DLI's clock is ahead
	for name, test := range map[string]struct {
		answer JobStatus
		want   time.Duration
		known  bool
	}{
		"is unknown":                        {},
		"is what DLI reports":               {JobStatus{Figures: Figures{Duration: &ran}}, ran, true},
		"is measured with DLI's clock only": {JobStatus{StartTime: start, Date: start.Add(time.Minute)}, time.Minute, true},
		"is the longer of both":             {JobStatus{StartTime: start, Date: start.Add(time.Minute), Figures: Figures{Duration: &ran}}, ran, true},
		"is not negative":                   {JobStatus{StartTime: start}, 0, true},
	} {
		if got, known := test.answer.RunningTime(noon); got != test.want || known != test.known {
			t.Errorf("%s: got %v %v", name, got, known)
		}
	}
}
