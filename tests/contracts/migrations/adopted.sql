-- A database of the existing app, as its schema is documented: 22 tables, with rows in each.
-- Passwords: 'correct horse battery' for Old@Example.com and bob@example.com; a hundred letters x
-- (cut at 72, as the old app did) for long@example.com; the password of oauth@example.com is unknown.

CREATE TYPE canonical_unit_type_enum AS ENUM ('weight', 'volume', 'count');
CREATE TYPE meal_share_request_status AS ENUM ('pending', 'accepted', 'declined');
CREATE TYPE mealdifficulty AS ENUM ('Easy', 'Medium', 'Hard');
CREATE TYPE mealtype AS ENUM ('Breakfast', 'Lunch', 'Dinner', 'Snack', 'Dessert');
CREATE TYPE notification_type AS ENUM ('meal_share_request', 'meal_share_accepted', 'meal_share_declined', 'family_invite', 'family_member_joined', 'system');

CREATE SEQUENCE chat_conversations_id_seq AS integer;
CREATE TABLE chat_conversations (
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    id integer DEFAULT nextval('chat_conversations_id_seq'::regclass) NOT NULL,
    title character varying(255),
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    user_id integer NOT NULL
);
ALTER SEQUENCE chat_conversations_id_seq OWNED BY chat_conversations.id;

CREATE SEQUENCE chat_messages_id_seq AS integer;
CREATE TABLE chat_messages (
    content text NOT NULL,
    conversation_id integer NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    id integer DEFAULT nextval('chat_messages_id_seq'::regclass) NOT NULL,
    image_url text,
    is_internal integer NOT NULL,
    role character varying(20) NOT NULL
);
ALTER SEQUENCE chat_messages_id_seq OWNED BY chat_messages.id;

CREATE SEQUENCE diet_tags_id_seq AS integer;
CREATE TABLE diet_tags (
    code text NOT NULL,
    display_name text NOT NULL,
    id integer DEFAULT nextval('diet_tags_id_seq'::regclass) NOT NULL
);
ALTER SEQUENCE diet_tags_id_seq OWNED BY diet_tags.id;

CREATE SEQUENCE families_id_seq AS integer;
CREATE TABLE families (
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    display_name text NOT NULL,
    id integer DEFAULT nextval('families_id_seq'::regclass) NOT NULL,
    invite_code text NOT NULL
);
ALTER SEQUENCE families_id_seq OWNED BY families.id;

CREATE SEQUENCE family_memberships_id_seq AS integer;
CREATE TABLE family_memberships (
    family_id integer NOT NULL,
    id integer DEFAULT nextval('family_memberships_id_seq'::regclass) NOT NULL,
    joined_at timestamp with time zone DEFAULT now() NOT NULL,
    role text NOT NULL,
    user_id integer NOT NULL
);
ALTER SEQUENCE family_memberships_id_seq OWNED BY family_memberships.id;

CREATE SEQUENCE grocery_list_items_id_seq AS integer;
CREATE TABLE grocery_list_items (
    canonical_quantity_needed numeric(10,3),
    canonical_unit character varying(16),
    checked boolean DEFAULT false NOT NULL,
    grocery_list_id integer NOT NULL,
    id integer DEFAULT nextval('grocery_list_items_id_seq'::regclass) NOT NULL,
    ingredient_id integer NOT NULL,
    is_manual boolean DEFAULT false NOT NULL,
    is_purchased boolean DEFAULT false NOT NULL,
    note text,
    quantity numeric(10,3),
    source_meal_plan_id integer,
    unit_id integer
);
ALTER SEQUENCE grocery_list_items_id_seq OWNED BY grocery_list_items.id;

CREATE SEQUENCE grocery_lists_id_seq AS integer;
CREATE TABLE grocery_lists (
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    created_by_user_id integer,
    family_id integer,
    id integer DEFAULT nextval('grocery_lists_id_seq'::regclass) NOT NULL,
    meal_plan_id integer,
    owner_user_id integer,
    status text DEFAULT 'draft'::text NOT NULL,
    title text,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);
ALTER SEQUENCE grocery_lists_id_seq OWNED BY grocery_lists.id;

CREATE SEQUENCE ingredients_id_seq AS integer;
CREATE TABLE ingredients (
    avg_weight_per_unit_g double precision,
    canonical_unit text,
    canonical_unit_type canonical_unit_type_enum,
    category text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    density_g_per_ml double precision,
    id integer DEFAULT nextval('ingredients_id_seq'::regclass) NOT NULL,
    name text NOT NULL,
    pieces_per_package integer
);
ALTER SEQUENCE ingredients_id_seq OWNED BY ingredients.id;

CREATE SEQUENCE meal_plans_id_seq AS integer;
CREATE TABLE meal_plans (
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    created_by_user_id integer,
    family_id integer,
    id integer DEFAULT nextval('meal_plans_id_seq'::regclass) NOT NULL,
    title text,
    week_end date,
    week_start date NOT NULL
);
ALTER SEQUENCE meal_plans_id_seq OWNED BY meal_plans.id;

CREATE SEQUENCE meal_share_requests_id_seq AS integer;
CREATE TABLE meal_share_requests (
    accepted_meal_id integer,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    family_id integer,
    id integer DEFAULT nextval('meal_share_requests_id_seq'::regclass) NOT NULL,
    meal_id integer NOT NULL,
    message character varying(500),
    recipient_user_id integer NOT NULL,
    responded_at timestamp with time zone,
    sender_user_id integer NOT NULL,
    status meal_share_request_status NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);
ALTER SEQUENCE meal_share_requests_id_seq OWNED BY meal_share_requests.id;

CREATE SEQUENCE meal_slot_meals_id_seq AS integer;
CREATE TABLE meal_slot_meals (
    id integer DEFAULT nextval('meal_slot_meals_id_seq'::regclass) NOT NULL,
    meal_id integer NOT NULL,
    meal_slot_id integer NOT NULL,
    portions integer
);
ALTER SEQUENCE meal_slot_meals_id_seq OWNED BY meal_slot_meals.id;

CREATE SEQUENCE meal_slots_id_seq AS integer;
CREATE TABLE meal_slots (
    day integer NOT NULL,
    id integer DEFAULT nextval('meal_slots_id_seq'::regclass) NOT NULL,
    meal_plan_id integer NOT NULL,
    notes text,
    servings integer,
    slot text NOT NULL
);
ALTER SEQUENCE meal_slots_id_seq OWNED BY meal_slots.id;

CREATE SEQUENCE meals_id_seq AS integer;
CREATE TABLE meals (
    calories integer NOT NULL,
    cook_time integer,
    cooking_tools jsonb,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    created_by_user_id integer NOT NULL,
    cuisine character varying(120),
    diet_compatibility jsonb,
    difficulty mealdifficulty,
    family_id integer,
    goal_fit jsonb,
    id integer DEFAULT nextval('meals_id_seq'::regclass) NOT NULL,
    image text,
    ingredients jsonb NOT NULL,
    instructions jsonb NOT NULL,
    is_favorite boolean NOT NULL,
    macros jsonb,
    meal_type mealtype NOT NULL,
    name character varying(255) NOT NULL,
    notes text,
    prep_time integer,
    servings integer,
    tags jsonb,
    total_time integer,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);
ALTER SEQUENCE meals_id_seq OWNED BY meals.id;

CREATE SEQUENCE notifications_id_seq AS integer;
CREATE TABLE notifications (
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    id integer DEFAULT nextval('notifications_id_seq'::regclass) NOT NULL,
    is_read boolean NOT NULL,
    message text NOT NULL,
    read_at timestamp with time zone,
    related_family_id integer,
    related_meal_id integer,
    related_share_request_id integer,
    related_user_id integer,
    title character varying(255) NOT NULL,
    type notification_type NOT NULL,
    user_id integer NOT NULL
);
ALTER SEQUENCE notifications_id_seq OWNED BY notifications.id;

CREATE SEQUENCE oauth_accounts_id_seq AS integer;
CREATE TABLE oauth_accounts (
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    email character varying(255) NOT NULL,
    id integer DEFAULT nextval('oauth_accounts_id_seq'::regclass) NOT NULL,
    provider character varying(32) NOT NULL,
    supabase_user_id character varying(128) NOT NULL,
    user_id integer NOT NULL,
    username character varying(255) NOT NULL
);
ALTER SEQUENCE oauth_accounts_id_seq OWNED BY oauth_accounts.id;

CREATE SEQUENCE pantry_items_id_seq AS integer;
CREATE TABLE pantry_items (
    canonical_quantity numeric(10,3),
    canonical_unit character varying(16),
    category character varying(64),
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at date,
    family_id integer,
    id integer DEFAULT nextval('pantry_items_id_seq'::regclass) NOT NULL,
    image_url character varying(512),
    ingredient_id integer,
    owner_user_id integer,
    quantity numeric(10,3),
    unit character varying(64),
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);
ALTER SEQUENCE pantry_items_id_seq OWNED BY pantry_items.id;

CREATE TABLE recipe_diet_tags (
    diet_tag_id integer NOT NULL,
    recipe_id integer NOT NULL
);

CREATE SEQUENCE recipe_ingredients_id_seq AS integer;
CREATE TABLE recipe_ingredients (
    canonical_quantity numeric(10,3),
    canonical_unit character varying(16),
    id integer DEFAULT nextval('recipe_ingredients_id_seq'::regclass) NOT NULL,
    ingredient_id integer NOT NULL,
    quantity numeric,
    recipe_id integer NOT NULL,
    unit_id integer
);
ALTER SEQUENCE recipe_ingredients_id_seq OWNED BY recipe_ingredients.id;

CREATE SEQUENCE recipes_id_seq AS integer;
CREATE TABLE recipes (
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    created_by_user_id integer,
    description text,
    family_id integer NOT NULL,
    id integer DEFAULT nextval('recipes_id_seq'::regclass) NOT NULL,
    instructions text,
    servings integer,
    title text NOT NULL
);
ALTER SEQUENCE recipes_id_seq OWNED BY recipes.id;

CREATE SEQUENCE units_id_seq AS integer;
CREATE TABLE units (
    code text NOT NULL,
    display_name text,
    id integer DEFAULT nextval('units_id_seq'::regclass) NOT NULL,
    is_metric boolean DEFAULT false NOT NULL
);
ALTER SEQUENCE units_id_seq OWNED BY units.id;

CREATE SEQUENCE user_preferences_id_seq AS integer;
CREATE TABLE user_preferences (
    age integer,
    allergen_ingredient_ids integer[] DEFAULT '{}'::integer[] NOT NULL,
    calorie_max integer,
    calorie_min integer,
    calorie_target integer DEFAULT 2000 NOT NULL,
    carb_calories double precision,
    carb_grams double precision,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    diet_codes text[] DEFAULT '{}'::text[] NOT NULL,
    diet_type text,
    disliked_ingredient_ids integer[] DEFAULT '{}'::integer[] NOT NULL,
    fat_calories double precision,
    fat_grams double precision,
    food_allergies text[] DEFAULT '{}'::text[] NOT NULL,
    gender text,
    goal text DEFAULT 'balanced'::text NOT NULL,
    height_cm double precision,
    id integer DEFAULT nextval('user_preferences_id_seq'::regclass) NOT NULL,
    is_athlete boolean DEFAULT false NOT NULL,
    protein_calories double precision,
    protein_grams double precision,
    training_level text,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    user_id integer NOT NULL,
    weight_kg double precision
);
ALTER SEQUENCE user_preferences_id_seq OWNED BY user_preferences.id;

CREATE SEQUENCE users_id_seq AS integer;
CREATE TABLE users (
    age integer,
    avatar_path character varying,
    calories double precision,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    email text NOT NULL,
    gender character varying(32),
    hashed_password text NOT NULL,
    height double precision,
    id integer DEFAULT nextval('users_id_seq'::regclass) NOT NULL,
    is_verified boolean DEFAULT false NOT NULL,
    location character varying(255),
    name text,
    password_reset_attempts integer NOT NULL,
    password_reset_code character varying(6),
    password_reset_expires_at timestamp with time zone,
    phone_number text,
    status character varying(50) DEFAULT 'active'::character varying NOT NULL,
    tier character varying(32) DEFAULT 'free'::character varying NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    verification_code character varying(6),
    verification_expires_at timestamp with time zone,
    weight double precision
);
ALTER SEQUENCE users_id_seq OWNED BY users.id;

ALTER TABLE chat_conversations ADD CONSTRAINT chat_conversations_pkey PRIMARY KEY (id);
ALTER TABLE chat_messages ADD CONSTRAINT chat_messages_pkey PRIMARY KEY (id);
ALTER TABLE diet_tags ADD CONSTRAINT diet_tags_pkey PRIMARY KEY (id);
ALTER TABLE families ADD CONSTRAINT families_pkey PRIMARY KEY (id);
ALTER TABLE family_memberships ADD CONSTRAINT family_memberships_pkey PRIMARY KEY (id);
ALTER TABLE grocery_list_items ADD CONSTRAINT grocery_list_items_pkey PRIMARY KEY (id);
ALTER TABLE grocery_lists ADD CONSTRAINT grocery_lists_pkey PRIMARY KEY (id);
ALTER TABLE ingredients ADD CONSTRAINT ingredients_pkey PRIMARY KEY (id);
ALTER TABLE meal_plans ADD CONSTRAINT meal_plans_pkey PRIMARY KEY (id);
ALTER TABLE meal_share_requests ADD CONSTRAINT meal_share_requests_pkey PRIMARY KEY (id);
ALTER TABLE meal_slot_meals ADD CONSTRAINT meal_slot_meals_pkey PRIMARY KEY (id);
ALTER TABLE meal_slots ADD CONSTRAINT meal_slots_pkey PRIMARY KEY (id);
ALTER TABLE meals ADD CONSTRAINT meals_pkey PRIMARY KEY (id);
ALTER TABLE notifications ADD CONSTRAINT notifications_pkey PRIMARY KEY (id);
ALTER TABLE oauth_accounts ADD CONSTRAINT oauth_accounts_pkey PRIMARY KEY (id);
ALTER TABLE pantry_items ADD CONSTRAINT pantry_items_pkey PRIMARY KEY (id);
ALTER TABLE recipe_diet_tags ADD CONSTRAINT recipe_diet_tags_pkey PRIMARY KEY (recipe_id, diet_tag_id);
ALTER TABLE recipe_ingredients ADD CONSTRAINT recipe_ingredients_pkey PRIMARY KEY (id);
ALTER TABLE recipes ADD CONSTRAINT recipes_pkey PRIMARY KEY (id);
ALTER TABLE units ADD CONSTRAINT units_pkey PRIMARY KEY (id);
ALTER TABLE user_preferences ADD CONSTRAINT user_preferences_pkey PRIMARY KEY (id);
ALTER TABLE users ADD CONSTRAINT users_pkey PRIMARY KEY (id);
ALTER TABLE diet_tags ADD CONSTRAINT diet_tags_code_key UNIQUE (code);
ALTER TABLE family_memberships ADD CONSTRAINT uq_membership_family_user UNIQUE (family_id, user_id);
ALTER TABLE ingredients ADD CONSTRAINT ingredients_name_key UNIQUE (name);
ALTER TABLE oauth_accounts ADD CONSTRAINT uq_oauth_accounts_supabase_user_id UNIQUE (supabase_user_id);
ALTER TABLE units ADD CONSTRAINT units_code_key UNIQUE (code);
ALTER TABLE family_memberships ADD CONSTRAINT ck_memberships_role CHECK ((role = ANY (ARRAY['owner'::text, 'admin'::text, 'member'::text])));
ALTER TABLE grocery_lists ADD CONSTRAINT grocery_list_scope_xor CHECK ((((family_id IS NOT NULL) AND (owner_user_id IS NULL)) OR ((family_id IS NULL) AND (owner_user_id IS NOT NULL))));
ALTER TABLE pantry_items ADD CONSTRAINT pantry_scope_xor CHECK ((((family_id IS NOT NULL) AND (owner_user_id IS NULL)) OR ((family_id IS NULL) AND (owner_user_id IS NOT NULL))));
ALTER TABLE chat_conversations ADD CONSTRAINT chat_conversations_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id);
ALTER TABLE chat_messages ADD CONSTRAINT chat_messages_conversation_id_fkey FOREIGN KEY (conversation_id) REFERENCES chat_conversations(id);
ALTER TABLE family_memberships ADD CONSTRAINT family_memberships_family_id_fkey FOREIGN KEY (family_id) REFERENCES families(id) ON DELETE CASCADE;
ALTER TABLE family_memberships ADD CONSTRAINT family_memberships_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE;
ALTER TABLE grocery_list_items ADD CONSTRAINT grocery_list_items_grocery_list_id_fkey FOREIGN KEY (grocery_list_id) REFERENCES grocery_lists(id) ON DELETE CASCADE;
ALTER TABLE grocery_list_items ADD CONSTRAINT grocery_list_items_ingredient_id_fkey FOREIGN KEY (ingredient_id) REFERENCES ingredients(id) ON DELETE CASCADE;
ALTER TABLE grocery_list_items ADD CONSTRAINT grocery_list_items_source_meal_plan_id_fkey FOREIGN KEY (source_meal_plan_id) REFERENCES meal_plans(id) ON DELETE SET NULL;
ALTER TABLE grocery_list_items ADD CONSTRAINT grocery_list_items_unit_id_fkey FOREIGN KEY (unit_id) REFERENCES units(id);
ALTER TABLE grocery_lists ADD CONSTRAINT grocery_lists_created_by_user_id_fkey FOREIGN KEY (created_by_user_id) REFERENCES users(id) ON DELETE SET NULL;
ALTER TABLE grocery_lists ADD CONSTRAINT grocery_lists_family_id_fkey FOREIGN KEY (family_id) REFERENCES families(id) ON DELETE CASCADE;
ALTER TABLE grocery_lists ADD CONSTRAINT grocery_lists_meal_plan_id_fkey FOREIGN KEY (meal_plan_id) REFERENCES meal_plans(id) ON DELETE SET NULL;
ALTER TABLE grocery_lists ADD CONSTRAINT grocery_lists_owner_user_id_fkey FOREIGN KEY (owner_user_id) REFERENCES users(id) ON DELETE CASCADE;
ALTER TABLE meal_plans ADD CONSTRAINT meal_plans_created_by_user_id_fkey FOREIGN KEY (created_by_user_id) REFERENCES users(id) ON DELETE SET NULL;
ALTER TABLE meal_plans ADD CONSTRAINT meal_plans_family_id_fkey FOREIGN KEY (family_id) REFERENCES families(id) ON DELETE CASCADE;
ALTER TABLE meal_share_requests ADD CONSTRAINT meal_share_requests_accepted_meal_id_fkey FOREIGN KEY (accepted_meal_id) REFERENCES meals(id) ON DELETE SET NULL;
ALTER TABLE meal_share_requests ADD CONSTRAINT meal_share_requests_family_id_fkey FOREIGN KEY (family_id) REFERENCES families(id) ON DELETE CASCADE;
ALTER TABLE meal_share_requests ADD CONSTRAINT meal_share_requests_meal_id_fkey FOREIGN KEY (meal_id) REFERENCES meals(id) ON DELETE CASCADE;
ALTER TABLE meal_share_requests ADD CONSTRAINT meal_share_requests_recipient_user_id_fkey FOREIGN KEY (recipient_user_id) REFERENCES users(id) ON DELETE CASCADE;
ALTER TABLE meal_share_requests ADD CONSTRAINT meal_share_requests_sender_user_id_fkey FOREIGN KEY (sender_user_id) REFERENCES users(id) ON DELETE CASCADE;
ALTER TABLE meal_slot_meals ADD CONSTRAINT meal_slot_meals_meal_id_fkey FOREIGN KEY (meal_id) REFERENCES meals(id) ON DELETE CASCADE;
ALTER TABLE meal_slot_meals ADD CONSTRAINT meal_slot_meals_meal_slot_id_fkey FOREIGN KEY (meal_slot_id) REFERENCES meal_slots(id) ON DELETE CASCADE;
ALTER TABLE meal_slots ADD CONSTRAINT meal_slots_meal_plan_id_fkey FOREIGN KEY (meal_plan_id) REFERENCES meal_plans(id) ON DELETE CASCADE;
ALTER TABLE meals ADD CONSTRAINT meals_created_by_user_id_fkey FOREIGN KEY (created_by_user_id) REFERENCES users(id);
ALTER TABLE meals ADD CONSTRAINT meals_family_id_fkey FOREIGN KEY (family_id) REFERENCES families(id) ON DELETE CASCADE;
ALTER TABLE notifications ADD CONSTRAINT notifications_related_family_id_fkey FOREIGN KEY (related_family_id) REFERENCES families(id) ON DELETE CASCADE;
ALTER TABLE notifications ADD CONSTRAINT notifications_related_meal_id_fkey FOREIGN KEY (related_meal_id) REFERENCES meals(id) ON DELETE CASCADE;
ALTER TABLE notifications ADD CONSTRAINT notifications_related_share_request_id_fkey FOREIGN KEY (related_share_request_id) REFERENCES meal_share_requests(id) ON DELETE CASCADE;
ALTER TABLE notifications ADD CONSTRAINT notifications_related_user_id_fkey FOREIGN KEY (related_user_id) REFERENCES users(id) ON DELETE CASCADE;
ALTER TABLE notifications ADD CONSTRAINT notifications_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE;
ALTER TABLE oauth_accounts ADD CONSTRAINT oauth_accounts_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE;
ALTER TABLE pantry_items ADD CONSTRAINT pantry_items_family_id_fkey FOREIGN KEY (family_id) REFERENCES families(id) ON DELETE CASCADE;
ALTER TABLE pantry_items ADD CONSTRAINT pantry_items_ingredient_id_fkey FOREIGN KEY (ingredient_id) REFERENCES ingredients(id) ON DELETE CASCADE;
ALTER TABLE pantry_items ADD CONSTRAINT pantry_items_owner_user_id_fkey FOREIGN KEY (owner_user_id) REFERENCES users(id) ON DELETE CASCADE;
ALTER TABLE recipe_diet_tags ADD CONSTRAINT recipe_diet_tags_diet_tag_id_fkey FOREIGN KEY (diet_tag_id) REFERENCES diet_tags(id) ON DELETE CASCADE;
ALTER TABLE recipe_diet_tags ADD CONSTRAINT recipe_diet_tags_recipe_id_fkey FOREIGN KEY (recipe_id) REFERENCES recipes(id) ON DELETE CASCADE;
ALTER TABLE recipe_ingredients ADD CONSTRAINT recipe_ingredients_ingredient_id_fkey FOREIGN KEY (ingredient_id) REFERENCES ingredients(id) ON DELETE CASCADE;
ALTER TABLE recipe_ingredients ADD CONSTRAINT recipe_ingredients_recipe_id_fkey FOREIGN KEY (recipe_id) REFERENCES recipes(id) ON DELETE CASCADE;
ALTER TABLE recipe_ingredients ADD CONSTRAINT recipe_ingredients_unit_id_fkey FOREIGN KEY (unit_id) REFERENCES units(id);
ALTER TABLE recipes ADD CONSTRAINT recipes_created_by_user_id_fkey FOREIGN KEY (created_by_user_id) REFERENCES users(id) ON DELETE SET NULL;
ALTER TABLE recipes ADD CONSTRAINT recipes_family_id_fkey FOREIGN KEY (family_id) REFERENCES families(id) ON DELETE CASCADE;
ALTER TABLE user_preferences ADD CONSTRAINT user_preferences_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE;

CREATE INDEX ix_chat_conversations_id ON chat_conversations USING btree (id);
CREATE INDEX ix_chat_messages_id ON chat_messages USING btree (id);
CREATE UNIQUE INDEX ix_families_invite_code ON families USING btree (invite_code);
CREATE INDEX ix_family_memberships_family_id ON family_memberships USING btree (family_id);
CREATE INDEX ix_family_memberships_user_id ON family_memberships USING btree (user_id);
CREATE INDEX ix_grocery_list_items_source_meal_plan_id ON grocery_list_items USING btree (source_meal_plan_id);
CREATE INDEX idx_grocery_list_family_status ON grocery_lists USING btree (family_id, status);
CREATE INDEX idx_grocery_list_owner_status ON grocery_lists USING btree (owner_user_id, status);
CREATE INDEX ix_grocery_lists_created_by_user_id ON grocery_lists USING btree (created_by_user_id);
CREATE INDEX ix_grocery_lists_family_id ON grocery_lists USING btree (family_id);
CREATE INDEX ix_grocery_lists_owner_user_id ON grocery_lists USING btree (owner_user_id);
CREATE INDEX idx_msr_family_status_created ON meal_share_requests USING btree (family_id, status, created_at);
CREATE INDEX idx_msr_recipient_status ON meal_share_requests USING btree (recipient_user_id, status);
CREATE INDEX idx_msr_sender_created ON meal_share_requests USING btree (sender_user_id, created_at);
CREATE INDEX ix_meal_share_requests_created_at ON meal_share_requests USING btree (created_at);
CREATE INDEX ix_meal_share_requests_family_id ON meal_share_requests USING btree (family_id);
CREATE INDEX ix_meal_share_requests_meal_id ON meal_share_requests USING btree (meal_id);
CREATE INDEX ix_meal_share_requests_recipient_user_id ON meal_share_requests USING btree (recipient_user_id);
CREATE INDEX ix_meal_share_requests_sender_user_id ON meal_share_requests USING btree (sender_user_id);
CREATE INDEX ix_meal_share_requests_status ON meal_share_requests USING btree (status);
CREATE INDEX idx_notif_user_created ON notifications USING btree (user_id, created_at);
CREATE INDEX idx_notif_user_read_created ON notifications USING btree (user_id, is_read, created_at);
CREATE INDEX ix_notifications_created_at ON notifications USING btree (created_at);
CREATE INDEX ix_notifications_is_read ON notifications USING btree (is_read);
CREATE INDEX ix_notifications_user_id ON notifications USING btree (user_id);
CREATE INDEX idx_pantry_family_expires ON pantry_items USING btree (family_id, expires_at);
CREATE INDEX idx_pantry_owner_expires ON pantry_items USING btree (owner_user_id, expires_at);
CREATE INDEX ix_pantry_items_category ON pantry_items USING btree (category);
CREATE INDEX ix_pantry_items_expires_at ON pantry_items USING btree (expires_at);
CREATE INDEX ix_pantry_items_family_id ON pantry_items USING btree (family_id);
CREATE INDEX ix_pantry_items_owner_user_id ON pantry_items USING btree (owner_user_id);
CREATE UNIQUE INDEX ix_user_preferences_user_id ON user_preferences USING btree (user_id);
CREATE INDEX ix_users_created_at ON users USING btree (created_at);
CREATE UNIQUE INDEX ix_users_email ON users USING btree (email);
CREATE INDEX ix_users_password_reset_code ON users USING btree (password_reset_code);
CREATE INDEX ix_users_status ON users USING btree (status);
CREATE INDEX ix_users_tier ON users USING btree (tier);
CREATE INDEX ix_users_verification_code ON users USING btree (verification_code);

CREATE TABLE alembic_version (version_num character varying(32) NOT NULL);
ALTER TABLE alembic_version ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
INSERT INTO alembic_version VALUES ('8a2eb98e9047');

INSERT INTO users (id, email, name, phone_number, location, hashed_password, created_at, updated_at, avatar_path, status, tier, gender, age, weight, height, calories, password_reset_code, password_reset_expires_at, password_reset_attempts, is_verified, verification_code, verification_expires_at) VALUES
    (1, 'Old@Example.com', 'Olga', '+31 6 1', 'Utrecht', '$2b$05$GCMkoMmIqRV9mHoIRKKTHePKteYWRjiHmCgU2Og9ufvKnBY10m7pC', '2025-11-01 08:00:00+00', '2025-11-02 08:00:00+00', 'users/1/profile.jpg', 'active', 'pro', 'female', 41, 70.5, 172.0, 2000.5, '123456', '2025-11-03 08:00:00+00', 2, true, NULL, NULL),
    (2, 'bob@example.com', NULL, NULL, NULL, '$2b$05$V3vv78./mam1ATe5einZV.YrpEhar.UMbIyEyxF2wrHQtQ8kfikDq', '2025-11-01 08:00:00+00', '2025-11-01 08:00:00+00', NULL, 'active', 'free', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, false, '654321', '2025-11-03 08:00:00+00'),
    (3, 'long@example.com', 'Lena', '', '', '$2b$05$6nKjVwDcHd96Zg8O9LGSHOxRoLdGY5eEd2s1fMV.ClhbgXbfHWg1i', '2025-11-01 08:00:00+00', '2025-11-01 08:00:00+00', NULL, 'active', 'gold', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, false, NULL, NULL),
    (7, 'oauth@example.com', 'Otto', NULL, NULL, '$2b$05$nXHsZK8t1DaBPf.Y8t6D.ewk/FVgKUieC5fAzI4MSc0G7ufaPAZFm', '2025-11-01 08:00:00+00', '2025-11-01 08:00:00+00', NULL, 'active', 'free', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, true, NULL, NULL);
INSERT INTO families (id, display_name, invite_code, created_at) VALUES
    (1, 'Família São', '000123', '2025-11-01 08:00:00+00'),
    (2, 'Bob''s', '999999', '2025-11-01 08:00:00+00');
INSERT INTO family_memberships (id, family_id, user_id, role, joined_at) VALUES
    (1, 1, 1, 'owner', '2025-11-01 08:00:00+00'),
    (2, 1, 2, 'member', '2025-11-01 08:00:00+00'),
    (3, 2, 2, 'owner', '2025-11-01 08:00:00+00'),
    (9, 1, 3, 'admin', '2025-11-02 08:00:00+00');
INSERT INTO oauth_accounts (id, user_id, email, username, provider, supabase_user_id, created_at) VALUES
    (1, 7, 'oauth@example.com', 'Otto', 'google', 'a1b2-c3', '2025-11-01 08:00:00+00'),
    (2, 3, 'Lena@Example.com', 'Lena', 'apple', 'd4', '2025-11-01 08:00:00+00');
INSERT INTO units (id, code, display_name, is_metric) VALUES
    (1, 'g', 'gram', true),
    (2, 'handful', NULL, false),
    (3, 'cup', 'Cup', false);
INSERT INTO ingredients (id, name, category, created_at, canonical_unit_type, canonical_unit, avg_weight_per_unit_g, density_g_per_ml, pieces_per_package) VALUES
    (1, 'Eggs', NULL, '2025-11-01 08:00:00+00', NULL, NULL, NULL, NULL, NULL),
    (2, 'flour', 'Baking', '2025-11-01 08:00:00+00', 'weight', 'g', NULL, 0.53, NULL),
    (3, 'Grandma''s jam', 'Spreads', '2025-11-01 08:00:00+00', 'count', 'count', 340.0, NULL, 6),
    (4, 'milk', 'Dairy', '2025-11-01 08:00:00+00', 'volume', 'ml', NULL, NULL, NULL);
INSERT INTO user_preferences (id, user_id, age, gender, height_cm, weight_kg, diet_codes, diet_type, allergen_ingredient_ids, food_allergies, disliked_ingredient_ids, goal, is_athlete, training_level, calorie_target, protein_grams, carb_grams, fat_grams, protein_calories, carb_calories, fat_calories, calorie_min, calorie_max, created_at, updated_at) VALUES
    (1, 1, 41, 'female', 172.0, 70.5, '{keto,low_carb}', 'vegetarian', '{1,99}', '{nuts,"sea food"}', '{2}', 'lose_weight', true, 'intense', 1800, 100.0, 50.5, 60.0, 400.0, 202.0, 540.0, 1500, 2000, '2025-11-01 08:00:00+00', '2025-11-01 08:00:00+00'),
    (2, 2, NULL, NULL, NULL, NULL, '{}', NULL, '{}', '{}', '{}', 'balanced', false, NULL, 2000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2025-11-01 08:00:00+00', '2025-11-01 08:00:00+00');
INSERT INTO meals (id, family_id, created_by_user_id, name, image, calories, prep_time, cook_time, total_time, meal_type, cuisine, tags, macros, difficulty, servings, diet_compatibility, goal_fit, ingredients, instructions, cooking_tools, notes, is_favorite, created_at, updated_at) VALUES
    (1, 1, 1, 'Pancakes', 'https://example.com/p.jpg', 500, 10, 20, 30, 'Breakfast', 'French', '["quick"]', '{"protein": 10, "fats": 9, "carbs": 60}', 'Easy', 2, '["vegetarian"]', '["balanced"]', '[{"name": "flour", "amount": "2 cups", "in_pantry": false}, {"name": "Eggs", "amount": "3", "in_pantry": true}]', '["Mix.", "Fry."]', '["pan"]', 'Good.', true, '2025-11-01 08:00:00+00', '2025-11-02 08:00:00+00'),
    (2, NULL, 2, 'Bob''s stew', NULL, 0, NULL, NULL, NULL, 'Dinner', NULL, NULL, NULL, NULL, NULL, NULL, NULL, '[]', '[]', NULL, NULL, false, '2025-11-01 08:00:00+00', '2025-11-01 08:00:00+00'),
    (5, NULL, 2, 'Pancakes', 'https://example.com/p.jpg', 500, 10, 20, 30, 'Breakfast', 'French', '[]', '{}', 'Hard', 2, '[]', '[]', '[{"name": "flour", "amount": "2 cups", "in_pantry": false}]', '["Mix."]', '[]', '', false, '2025-11-03 08:00:00+00', '2025-11-03 08:00:00+00');
INSERT INTO meal_plans (id, family_id, title, week_start, week_end, created_by_user_id, created_at) VALUES
    (1, 1, 'Week', '2025-11-03', '2025-11-09', 1, '2025-11-01 08:00:00+00'),
    (2, NULL, NULL, '2025-11-10', NULL, 2, '2025-11-01 08:00:00+00'),
    (3, 1, 'Orphan', '2025-11-10', NULL, NULL, '2025-11-01 08:00:00+00');
INSERT INTO meal_slots (id, meal_plan_id, day, slot, servings, notes) VALUES
    (1, 1, 0, 'breakfast', 2, NULL),
    (2, 1, 6, 'dinner', NULL, 'guests'),
    (3, 2, 3, 'snack', 0, '');
INSERT INTO meal_slot_meals (id, meal_slot_id, meal_id, portions) VALUES
    (1, 1, 1, 2),
    (2, 2, 1, NULL),
    (3, 3, 2, 1);
INSERT INTO recipes (id, family_id, title, description, instructions, servings, created_by_user_id, created_at) VALUES
    (1, 1, 'Pea soup', 'Green', 'Boil.', 4, 1, '2025-11-01 08:00:00+00'),
    (2, 2, 'Bread', NULL, NULL, NULL, NULL, '2025-11-01 08:00:00+00');
INSERT INTO recipe_ingredients (id, recipe_id, ingredient_id, quantity, unit_id, canonical_quantity, canonical_unit) VALUES
    (1, 1, 2, 0.33333333, 3, 41.976, 'g'),
    (2, 1, 1, 3, NULL, NULL, NULL);
INSERT INTO diet_tags (id, code, display_name) VALUES
    (1, 'vegan', 'Plant based'),
    (2, 'house', 'House special');
INSERT INTO recipe_diet_tags (recipe_id, diet_tag_id) VALUES
    (1, 1),
    (1, 2),
    (2, 2);
INSERT INTO pantry_items (id, family_id, ingredient_id, quantity, unit, expires_at, created_at, updated_at, category, image_url, canonical_quantity, canonical_unit, owner_user_id) VALUES
    (1, 1, 2, 500.0, 'g', '2099-01-01', '2025-11-01 08:00:00+00', '2025-11-01 08:00:00+00', 'Baking', 'https://example.com/f.jpg', 500.0, 'g', NULL),
    (2, NULL, 4, 1.5, 'l', NULL, '2025-11-01 08:00:00+00', '2025-11-01 08:00:00+00', NULL, NULL, 1500.0, 'ml', 1),
    (3, NULL, NULL, 3, NULL, '2020-01-01', '2025-11-01 08:00:00+00', '2025-11-01 08:00:00+00', NULL, NULL, NULL, NULL, 1),
    (4, NULL, 3, NULL, NULL, NULL, '2025-11-01 08:00:00+00', '2025-11-01 08:00:00+00', NULL, NULL, NULL, NULL, 2),
    (8, 1, 1, 9999999.999, 'pcs', NULL, '2025-11-01 08:00:00+00', '2025-11-01 08:00:00+00', NULL, NULL, NULL, NULL, NULL);
INSERT INTO grocery_lists (id, family_id, owner_user_id, created_by_user_id, meal_plan_id, title, status, created_at, updated_at) VALUES
    (1, 1, NULL, 1, 1, 'Week', 'draft', '2025-11-01 08:00:00+00', '2025-11-01 08:00:00+00'),
    (2, NULL, 2, 2, NULL, NULL, 'done long ago', '2025-11-01 08:00:00+00', '2025-11-01 08:00:00+00'),
    (3, 1, NULL, NULL, NULL, 'Nobody made it', 'purchased', '2025-11-01 08:00:00+00', '2025-11-01 08:00:00+00');
INSERT INTO grocery_list_items (id, grocery_list_id, ingredient_id, quantity, unit_id, checked, note, canonical_quantity_needed, canonical_unit, is_purchased, is_manual, source_meal_plan_id) VALUES
    (1, 1, 2, 104, 3, false, NULL, 8.8, 'g', false, false, 1),
    (2, 1, 1, NULL, NULL, true, '3', NULL, NULL, true, true, NULL),
    (3, 2, 3, -1, 2, false, 'two jars, one jar', NULL, NULL, false, false, NULL),
    (4, 3, 4, 0.001, NULL, false, '', 0, 'ml', false, false, NULL);
INSERT INTO meal_share_requests (id, meal_id, sender_user_id, recipient_user_id, family_id, accepted_meal_id, status, message, created_at, updated_at, responded_at) VALUES
    (1, 1, 1, 2, 1, 5, 'accepted', 'Try it', '2025-11-01 08:00:00+00', '2025-11-03 08:00:00+00', '2025-11-03 08:00:00+00'),
    (2, 1, 1, 3, 1, NULL, 'pending', NULL, '2025-11-02 08:00:00+00', '2025-11-02 08:00:00+00', NULL),
    (3, 2, 2, 1, NULL, NULL, 'declined', NULL, '2025-11-02 08:00:00+00', '2025-11-02 08:00:00+00', '2025-11-03 08:00:00+00');
INSERT INTO notifications (id, user_id, type, title, message, related_meal_id, related_user_id, related_family_id, related_share_request_id, is_read, created_at, read_at) VALUES
    (1, 2, 'meal_share_request', 'New Meal Share Request', 'Olga wants to share ''Pancakes'' with you', 1, 1, NULL, 1, true, '2025-11-01 08:00:00+00', '2025-11-02 08:00:00+00'),
    (2, 1, 'meal_share_accepted', 'Meal Share Accepted', 'bob@example.com accepted', 1, 2, NULL, 1, false, '2025-11-03 08:00:00+00', NULL),
    (3, 3, 'system', 'Hello', 'Welcome', NULL, NULL, NULL, NULL, false, '2025-11-01 08:00:00+00', NULL);
INSERT INTO chat_conversations (id, user_id, title, created_at, updated_at) VALUES
    (1, 1, 'Dinner', '2025-11-01 08:00:00+00', '2025-11-02 08:00:00+00'),
    (2, 2, NULL, '2025-11-01 08:00:00+00', '2025-11-01 08:00:00+00');
INSERT INTO chat_messages (id, conversation_id, role, content, created_at, is_internal, image_url) VALUES
    (1, 1, 'system', 'You are helpful.', '2025-11-01 08:00:00+00', 0, NULL),
    (2, 1, 'system', 'mode: meal_planning', '2025-11-01 08:00:00+00', 1, NULL),
    (3, 1, 'user', 'What is this food?', '2025-11-01 08:00:00+00', 0, 'https://pictures.example.com/chat-images/1/1/a.jpg'),
    (4, 1, 'assistant', 'Soup.', '2025-11-01 08:00:00+00', 0, NULL);

SELECT setval('chat_conversations_id_seq', (SELECT max(id) FROM chat_conversations));
SELECT setval('chat_messages_id_seq', (SELECT max(id) FROM chat_messages));
SELECT setval('diet_tags_id_seq', (SELECT max(id) FROM diet_tags));
SELECT setval('families_id_seq', (SELECT max(id) FROM families));
SELECT setval('family_memberships_id_seq', (SELECT max(id) FROM family_memberships));
SELECT setval('grocery_list_items_id_seq', (SELECT max(id) FROM grocery_list_items));
SELECT setval('grocery_lists_id_seq', (SELECT max(id) FROM grocery_lists));
SELECT setval('ingredients_id_seq', (SELECT max(id) FROM ingredients));
SELECT setval('meal_plans_id_seq', (SELECT max(id) FROM meal_plans));
SELECT setval('meal_share_requests_id_seq', (SELECT max(id) FROM meal_share_requests));
SELECT setval('meal_slot_meals_id_seq', (SELECT max(id) FROM meal_slot_meals));
SELECT setval('meal_slots_id_seq', (SELECT max(id) FROM meal_slots));
SELECT setval('meals_id_seq', (SELECT max(id) FROM meals));
SELECT setval('notifications_id_seq', (SELECT max(id) FROM notifications));
SELECT setval('oauth_accounts_id_seq', (SELECT max(id) FROM oauth_accounts));
SELECT setval('pantry_items_id_seq', (SELECT max(id) FROM pantry_items));
SELECT setval('recipe_ingredients_id_seq', (SELECT max(id) FROM recipe_ingredients));
SELECT setval('recipes_id_seq', (SELECT max(id) FROM recipes));
SELECT setval('units_id_seq', (SELECT max(id) FROM units));
SELECT setval('user_preferences_id_seq', (SELECT max(id) FROM user_preferences));
SELECT setval('users_id_seq', (SELECT max(id) FROM users));
