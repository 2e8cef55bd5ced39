# The rules of RULES.md once more, in another language and over other values: the request,
# standing and governance as they travel, not as Cedar is given them. An oracle for tests.
package twin

import rego.v1

default allowed := false

allowed if {
	count(refused_by) == 0
	count(permitted_by) > 0
}

request := input.request

facts := request.facts

person := input.standing

office := input.governance

now := input.now

# What is done: a use goes by its own name, and a use beside another action by none.
deed := request.action if {
	request.use == null
	request.action != "use"
}

deed := request.use if {
	request.action == "use"
	request.use != null
}

deed := "use" if {
	request.action == "use"
	request.use == null
}

deed := "use" if {
	request.action != "use"
	request.use != null
}

about_a_person if not deed in {"release", "ask"}

uses := {
	"handover", "priority", "agent_hint", "referral", "compensation", "offer", "upsell",
	"price", "credit", "insurance", "eligibility", "timing", "segment",
}

# A use that rests on an emotion.
rests_on_a_cue if {
	deed in uses | {"use"}
	facts.emotion != null
}

given(name) if not object.get(facts, name, null) in {null, ""}

lately(moment, longest_s) if {
	moment != null
	not_ahead(moment)
	now - moment <= longest_s
}

refusals := [at | some [purpose, at] in person.refused; purpose == request.purpose]

# The newest consent that names purpose and modality.
named_grants := [g | some g in person.grants; g.purpose == request.purpose; request.modality in g.modalities]

newest := max([g.granted_at | some g in named_grants])

grant := [g | some g in named_grants; g.granted_at == newest][0]

not_ahead(moment) if moment <= now + input.clock_skew_s

fresh(moment) if {
	not_ahead(moment)
	now - moment <= office.standing_max_age_s
}

safe_exception if {
	person.role == "worker"
	request.setting == "safety"
	facts.safety_dpia != null
	deed in {"infer", "referral"}
}

# -- prohibitions -------------------------------------------------------------------------

refused_by contains "r01-not-customer" if {
	about_a_person
	person.role != "customer"
	not safe_exception
}

refused_by contains "r01-role-mismatch" if {
	about_a_person
	request.role != person.role
}

refused_by contains "r01-workplace" if request.setting == "workplace"

refused_by contains "r01-safety-without-dpia" if {
	request.setting == "safety"
	object.get(facts, "safety_dpia", null) in {null, ""}
}

refused_by contains "r02-student" if {
	about_a_person
	"student" in {person.role, request.role}
}

refused_by contains "r02-education" if request.setting == "education"

refused_by contains "r03-agent-channel" if request.channel == "agent"

refused_by contains "r03-speakers-not-separated" if not request.channel in {"customer", "agent"}

refused_by contains "r04-no-consent" if {
	about_a_person
	count(named_grants) == 0
}

refused_by contains "r04-not-explicit" if {
	about_a_person
	not grant.explicit
	count(named_grants) > 0
}

refused_by contains "r04-not-in-force" if {
	about_a_person
	grant.expires_at <= now
}

refused_by contains "r04-not-in-force" if {
	about_a_person
	count(named_grants) > 0
	not not_ahead(grant.granted_at)
}

refused_by contains "r05-notice-too-old" if {
	about_a_person
	grant.notice_version < office.minimum_notice
}

informed if {
	person.informed_at != null
	not_ahead(person.informed_at)
}

refused_by contains "r05-not-informed" if {
	about_a_person
	not informed
}

refused_by contains "r06-withdrawn" if {
	about_a_person
	request.purpose in person.withdrawn
}

refused_by contains "r06-objected" if {
	about_a_person
	request.purpose in person.objected
}

refused_by contains "r06-restricted" if {
	about_a_person
	person.restricted
}

refused_by contains "r06-erased" if {
	about_a_person
	person.erased
}

refused_by contains "r06-standing-stale" if {
	about_a_person
	not fresh(person.as_of)
}

refused_by contains "r07-minor-or-unknown-age" if {
	about_a_person
	person.age != "adult"
	request.purpose != "aggregate_reporting"
}

refused_by contains "r08-vulnerable" if {
	deed in {"upsell", "offer", "segment", "timing", "price"}
	count(person.vulnerabilities) > 0
}

refused_by contains "r10-negative-emotion" if {
	deed == "upsell"
	facts.emotion in {"anger", "fear", "sadness", "distress"}
}

refused_by contains "r10-undeclared-emotion" if {
	deed == "upsell"
	facts.emotion == null
}

refused_by contains "r11-price-and-access" if deed in {"price", "credit", "insurance", "eligibility"}

better_off if {
	given("offer_value")
	given("baseline_value")
	facts.baseline_value >= 0
	facts.offer_value >= facts.baseline_value
}

refused_by contains "r12-worse-off" if {
	deed in {"offer", "compensation"}
	not better_off
}

refused_by contains "r14-calm-not-tested" if {
	deed == "compensation"
	not lately(facts.calm_passed_at, input.calm_test_s)
}

refused_by contains "r13-others-wait" if {
	deed in {"handover", "priority"}
	object.get(facts, "delayed_calls", null) != 0
}

refused_by contains "r15-timing" if deed == "timing"

refused_by contains "r15-brought-on" if {
	deed in {"offer", "upsell"}
	not facts.due_anyway
}

refused_by contains "r16-session-over" if {
	rests_on_a_cue
	not lately(facts.read_at, input.session_s)
}

refused_by contains "r16-segment" if deed == "segment"

refused_by contains "r17-cancelling" if {
	deed in {"handover", "compensation", "offer", "upsell"}
	facts.cancelling
}

refused_by contains "r18-asked-again" if {
	deed == "ask"
	some at in refusals
	now - at < input.ask_again_s
}

refused_by contains "r18-in-distress" if {
	deed == "ask"
	facts.emotion == "distress"
}

refused_by contains "r18-in-distress" if {
	deed == "ask"
	"crisis" in person.vulnerabilities
}

refused_by contains "r18-final-no" if {
	deed == "ask"
	true in {person.erased, person.restricted, request.purpose in person.objected}
}

refused_by contains "r18-standing-stale" if {
	deed == "ask"
	not fresh(person.as_of)
}

refused_by contains "r22-uncertain" if {
	rests_on_a_cue
	not facts.certain
}

refused_by contains "r23-offer-unapproved" if {
	deed in {"offer", "compensation", "upsell"}
	not given("approved_by")
}

refused_by contains "r23-release-unapproved" if {
	deed == "release"
	object.get(facts, "approved_by", null) in {null, ""}
}

refused_by contains "r24-undeclared-use" if deed == "use"

refused_by contains "r24-objective" if {
	deed in uses | {"use"}
	not facts.objective in {"relief", "access", "help", "redress", "protection"}
}

refused_by contains "r25-leaves-unprotected" if {
	facts.leaves_node
	not facts.protected
}

refused_by contains "r25-release-unprotected" if {
	deed == "release"
	not facts.protected
}

refused_by contains "r25-budget-spent" if not facts.budget_left

refused_by contains "r27-stopped" if office.stopped

refused_by contains "r27-no-dpia" if not request.purpose in office.dpia_purposes

refused_by contains "r27-governance-stale" if not fresh(office.as_of)

# -- permissions --------------------------------------------------------------------------

reading := {"service", "handover", "agent_help", "training", "aggregate_reporting", "research"}

opens := {
	"infer": {"p01-infer": reading},
	"store": {"p02-store": reading},
	"label": {"p03-label": {"service", "training", "research"}},
	"train": {"p04-train": {"training", "research"}},
	"count": {"p05-count": {"aggregate_reporting", "research"}},
	"handover": {"p06-handover": {"handover"}},
	"priority": {"p06-handover": {"handover"}},
	"agent_hint": {"p07-agent-hint": {"agent_help"}},
	"referral": {"p08-referral": {"service", "handover", "agent_help"}},
	"release": {"p09-release": {"training"}},
	"compensation": {"p10-compensation": {"service"}},
}

permitted_by contains "p11-ask" if {
	deed == "ask"
	request.role == "customer"
	person.role == "customer"
}

permitted_by contains rule if {
	some rule, purposes in opens[deed]
	request.purpose in purposes
}

# -- answer -------------------------------------------------------------------------------

rules := refused_by if count(refused_by) > 0

rules := permitted_by if {
	count(refused_by) == 0
	count(permitted_by) > 0
}

rules := {"r00-no-permission"} if {
	count(refused_by) == 0
	count(permitted_by) == 0
}

answer := {"allowed": allowed, "rules": rules}
